"""What every room needs: errors for users, whole files, progress, seeds."""

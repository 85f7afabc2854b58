"""What every package needs: errors for users, whole files, progress, seeds."""

"""What a test says of itself: report, model card, figures, summary."""

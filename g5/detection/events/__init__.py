"""From a curve of scores to events: peaks, the threshold, begin and end."""

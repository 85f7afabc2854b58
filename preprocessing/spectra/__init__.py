"""The arithmetic of front ends: mel bands, smoothing, scratch memory."""

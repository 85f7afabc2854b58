"""Files that lie elsewhere than on the disk: at an address, or in an archive."""

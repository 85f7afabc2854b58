"""Where the sound lies in files of every format, whatever their headers get wrong."""

"""What a completed object looks like from elsewhere: novel views."""

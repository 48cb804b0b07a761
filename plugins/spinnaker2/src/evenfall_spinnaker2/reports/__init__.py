"""What an image is and does, as text and as a self-contained HTML page."""

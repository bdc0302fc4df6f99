"""What anyone's folder of images and masks holds, and a configuration that trains on it; needs no torch."""

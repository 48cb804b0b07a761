"""What all backends share: dispatch, packed sequences, dense products, gradients, devices."""

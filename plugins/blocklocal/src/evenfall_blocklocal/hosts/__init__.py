"""Block-local training inside of other packages' loops. Import the module of the host by name."""

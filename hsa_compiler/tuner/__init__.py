"""The tuner: finds the fastest schedule of each kernel on the hardware at hand."""

"""Which detector says soonest that a subject is reset more than usual, without crying wolf: ours beside river's."""

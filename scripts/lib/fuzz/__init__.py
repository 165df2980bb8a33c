"""Mutated messages, frames and captures for everything that reads octets nobody vouches for."""

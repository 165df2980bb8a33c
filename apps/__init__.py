"""Where the core meets the framework: OpenFlow in and out, the hub, the API's socket."""

"""How much the controller and its channel can take: killed over and over under load, or left alone with faults for long."""

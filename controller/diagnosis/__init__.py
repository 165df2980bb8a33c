"""Why was it reset: resets to evidence, evidence to a posterior over causes, anomalies to incidents, incidents to remedies."""

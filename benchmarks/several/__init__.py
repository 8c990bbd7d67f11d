"""Several processes for one job: what a second one adds."""

"""Side evaluations: which there are (`sets`), and how a submission is measured beside its base model (`measure`)."""

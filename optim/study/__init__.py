"""What a config asks for, as objects: study, stages, state, initial parameters, precision."""

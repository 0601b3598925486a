"""How it learns: step, program, measure, plan, loop. Knows no file."""

"""Laws of motion: dx/dt = f(x) from trajectories with noise, by the weak form."""

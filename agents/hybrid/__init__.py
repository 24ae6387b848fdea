"""Actions with discrete and continuous parts: distributions, and the policy that stock SB3 trains."""

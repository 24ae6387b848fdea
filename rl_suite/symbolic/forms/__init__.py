"""Forms that are tried before and beside evolution: monomials, rational functions, assemblies."""

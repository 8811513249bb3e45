package breaker

// errnoType knows nothing: Plan 9 tells what failed by text.
func errnoType(error) string { return "" }

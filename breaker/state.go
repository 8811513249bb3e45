package breaker

// State is what a breaker does with the next call.
type State uint8

// The three states. Their numbers are those of the state gauge.
const (
	Closed   State = 0 // calls go through and are judged
	HalfOpen State = 1 // a limited number of probes go through, the rest is blocked
	Open     State = 2 // every call is blocked
)

const states = 3

// String gives the serialized form: "closed", "half_open" or "open".
func (s State) String() string {
	return name(uint8(s), "closed", "half_open", "open")
}

// Outcome is what a call that was let through came to.
type Outcome uint8

// The outcomes of a call that was let through. Any other value counts as a Failure.
const (
	Success Outcome = iota
	Failure
	Ignored // neither: counted, but moves nothing
)

// String gives the serialized form: "success", "failure" or "ignored".
func (o Outcome) String() string {
	return name(uint8(o), "success", "failure", "ignored")
}

// Override tells whether an operator has taken the decision from the rules.
type Override uint8

// The overrides. Their numbers are those of the override gauge.
const (
	Automatic  Override = 0 // the rules decide
	ForcedOpen Override = 1 // every call is blocked until Reset or Disable
	Disabled   Override = 2 // every call goes through and is counted until Reset or ForceOpen
)

// String gives the serialized form: "automatic", "forced_open" or "disabled".
func (o Override) String() string {
	return name(uint8(o), "automatic", "forced_open", "disabled")
}

func name(i uint8, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}

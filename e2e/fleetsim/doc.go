// Package fleetsim simulates a fleet: many instances with many breakers each, which send their metrics through two real
// collectors as gateways into a real Prometheus. Its tests compare what arrives with what each instance has counted.
//
//	make e2e              # a small fleet, in shortened time
//	make fleet-telemetry  # the whole of it (half an hour, 12 GB of memory), and the figures of docs/fleet-telemetry.md
package fleetsim

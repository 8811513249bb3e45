package logs

import "github.com/otelbreaker/otelbreaker/breaker"

// MaxAccounts is how many breakers a listener keeps an account of.
const MaxAccounts = maxAccounts

// Accounts tells of how many it does.
func Accounts(l breaker.Listener) int {
	limiter := l.(*listener).otel.limiter
	limiter.mu.Lock()
	defer limiter.mu.Unlock()
	return len(limiter.accounts)
}

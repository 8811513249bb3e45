package redis_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	fleetredis "github.com/otelbreaker/otelbreaker/fleet/redis"
)

// A variable of a client's type that nobody has filled is an error at once, not a panic in the background.
func TestG18_AClientThatIsNilIsRefused(t *testing.T) {
	var client *redis.Client
	if _, err := fleetredis.New(client); err == nil || !strings.Contains(err.Error(), "client is nil (*redis.Client)") {
		t.Errorf("the error is %v", err)
	}
}

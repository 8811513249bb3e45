package enginetest_test

import (
	"testing"

	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

func TestMemory(t *testing.T) {
	m := enginetest.NewMemory()
	enginetest.Run(t, enginetest.Store{Open: func(*testing.T) fleet.Engine { return m }})
}

package nats_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
	fleetnats "github.com/otelbreaker/otelbreaker/fleet/nats"
)

// store is a real NATS server in this process, which can be ended and started anew on the same port.
type store struct {
	options *server.Options
	server  *server.Server
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{options: &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir()}}
	s.start(t)
	s.options.Port = s.server.Addr().(*net.TCPAddr).Port
	t.Cleanup(s.stop)
	return s
}

func (s *store) start(t testing.TB) {
	t.Helper()
	options := *s.options // the server changes them
	var err error
	if s.server, err = server.NewServer(&options); err != nil {
		t.Fatal(err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
}

func (s *store) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *store) connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond)}, opts...)
	c, err := nats.Connect(s.server.ClientURL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s *store) engine(t testing.TB, opts ...fleetnats.Option) fleet.Engine {
	t.Helper()
	e, err := fleetnats.New(s.connect(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) {
	s := newStore(t)
	enginetest.Run(t, enginetest.Store{
		Open: func(t *testing.T) fleet.Engine { return s.engine(t) },
		Away: func(*testing.T) { s.stop() },
		Back: func(t *testing.T) { s.start(t) },
	})
}

func TestNewTellsWhatIsWrong(t *testing.T) {
	_, err := fleetnats.New(nil, fleetnats.WithBucket("a.b"), fleetnats.WithReplicas(9), fleetnats.WithMaxBytes(7), nil)
	for _, want := range []string{"the connection is nil", `WithBucket is "a.b"`, "WithReplicas is 9: allowed is 1 to 5", "WithMaxBytes is 7", "option 3 is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestFleetOfAHundred(t *testing.T) {
	s := newStore(t)
	figures := enginetest.Fleet(t, enginetest.Store{
		Open: func(t *testing.T) fleet.Engine { return s.engine(t) },
		Away: func(*testing.T) { s.stop() },
		Back: func(t *testing.T) { s.start(t) },
	}, 100)
	t.Logf("%+v", figures)
}

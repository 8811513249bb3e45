package nats_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
	fleetnats "github.com/otelbreaker/otelbreaker/fleet/nats"
)

// store is a real NATS server in this process, which can be ended and started anew on the same port.
type store struct {
	options *server.Options
	server  *server.Server
}

func newStore(t testing.TB, more ...func(*server.Options)) *store {
	t.Helper()
	s := &store{options: &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir()}}
	for _, f := range more {
		f(s.options)
	}
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

// TestEngineByTLSWithCredentials has a user who may do no more than docs/fleet.md says.
func TestEngineByTLSWithCredentials(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1
	defer certified.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(certified.Certificate())
	bucket := fleetnats.DefaultBucket
	s := newStore(t, func(o *server.Options) {
		o.TLS, o.TLSConfig = true, &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS13}
		o.Users = []*server.User{{Username: "shop", Password: "s3cret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"$KV." + bucket + ".>", "$JS.API.INFO", "$JS.API.STREAM.INFO.KV_" + bucket, "$JS.API.STREAM.CREATE.KV_" + bucket,
				"$JS.API.DIRECT.GET.KV_" + bucket + ".>", "$JS.API.CONSUMER.*.KV_" + bucket + ".>", "$JS.FC.KV_" + bucket + ".>",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}}
	})
	secure := nats.Secure(&tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13})
	enginetest.Run(t, enginetest.Store{Open: func(t *testing.T) fleet.Engine {
		e, err := fleetnats.New(s.connect(t, secure, nats.UserInfo("shop", "s3cret")))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}})

	connection, err := nats.Connect(s.server.ClientURL(), secure, nats.UserInfo("shop", "hunter2"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	e, err := fleetnats.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Put(t.Context(), "a.b", nil, time.Minute); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestF06_AProgramMayStartBeforeTheServer begins with nobody there.
func TestF06_AProgramMayStartBeforeTheServer(t *testing.T) {
	s := newStore(t)
	url := s.server.ClientURL()
	s.stop()
	connection, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	e, err := fleetnats.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	b, err := breaker.New(breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	member, err := fleet.Join(b, e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Close(t.Context()) }()
	if err := b.Do(t.Context(), func(context.Context) error { return nil }); err != nil || member.Connected() {
		t.Errorf("without a server a call gives %v, and it is connected: %v", err, member.Connected())
	}
	s.start(t)
	await(t, "it to share", member.Connected)
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
	t.Logf("\n%s", figures.Table())
	if *into != "" {
		if err := figures.Write(*into, "NATS"); err != nil {
			t.Fatal(err)
		}
	}
}

var into = flag.String("figures", "", "a document to write the figures into")

// refusals counts what the store does not take.
type refusals struct {
	fleet.Engine
	n atomic.Int64
}

func (r *refusals) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	err := r.Engine.Put(ctx, key, value, ttl)
	if err != nil {
		r.n.Add(1)
	}
	return err
}

// TestF06_AFullBucketLeavesBreakersToThemselves fills the real bucket. Who has a key there can still write it; who comes
// later cannot, and nobody can take a turn.
func TestF06_AFullBucketLeavesBreakersToThemselves(t *testing.T) {
	s := newStore(t)
	join := func(name string) (*breaker.Breaker, *fleet.Member, *refusals) {
		b, err := breaker.New(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		r := &refusals{Engine: s.engine(t, fleetnats.WithMaxBytes(1<<20))}
		m, err := fleet.Join(b, r, fleet.WithPolicy(fleet.LeaderOfOne()), fleet.WithHeartbeat(time.Second),
			fleet.WithHoldBound(time.Second), fleet.WithReplica(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return b, m, r
	}
	recovers := func(b *breaker.Breaker) func() bool {
		return func() bool {
			return b.Do(t.Context(), func(context.Context) error { return nil }) == nil && b.State() == breaker.Closed
		}
	}
	first, member, _ := join("first")
	await(t, "it to share", member.Connected)
	js, err := jetstream.New(s.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), fleetnats.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	for i, size := 0, 10_000; size > 0; i++ {
		if _, err := kv.Put(t.Context(), fmt.Sprintf("junk.%d", i), make([]byte, size)); err != nil {
			size /= 10 // there may be room for less
		}
	}
	second, newcomer, refused := join("second")
	await(t, "the newcomer to be refused", func() bool { return refused.n.Load() > 2 })
	if newcomer.Connected() {
		t.Error("it says that it shares")
	}
	for _, b := range []*breaker.Breaker{first, second} {
		_ = b.Do(t.Context(), func(context.Context) error { return errors.New("failure") })
		if b.State() != breaker.Open {
			t.Errorf("one that failed is %v", b.State())
		}
		await(t, "it to recover", recovers(b))
	}
	stream, err := js.Stream(t.Context(), "KV_"+fleetnats.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+fleetnats.DefaultBucket+".junk.>")); err != nil {
		t.Fatal(err)
	}
	await(t, "both to share", func() bool { return member.Replicas() == 2 && newcomer.Replicas() == 2 })
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestABucketWithoutTimesToLiveIsRefused(t *testing.T) {
	s := newStore(t)
	js, err := jetstream.New(s.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "plain"}); err != nil {
		t.Fatal(err)
	}
	err = s.engine(t, fleetnats.WithBucket("plain")).Put(t.Context(), "a", nil, time.Minute)
	if err == nil || !strings.Contains(err.Error(), `LimitMarkerTTL of the bucket "plain" is 0: allowed is a positive duration`) {
		t.Errorf("the error is %v", err)
	}
}

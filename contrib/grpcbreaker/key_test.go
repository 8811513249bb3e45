package grpcbreaker_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// dialOnly dials one address, whatever it is asked for.
func dialOnly(address string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
}

func TestTheKeysOfCalls(t *testing.T) {
	address := serve(t, answers(nil))
	type key = func(context.Context, string, *grpc.ClientConn) string
	for _, c := range []struct {
		name, target      string
		key               key
		service, endpoint string
	}{
		{"target", "passthrough:///a.example:443", grpcbreaker.TargetKey, "a.example", "dns:///a.example:443"},
		{"target, as the default writes it", address, grpcbreaker.TargetKey, "127.0.0.1", "dns:///" + address},
		{"target with user info", "passthrough:///u:secret@a.example:443", grpcbreaker.TargetKey, "a.example", "passthrough://a.example:443"},
		{"service", "passthrough:///a.example:443", grpcbreaker.ServiceKey, "a.example", "dns:///a.example:443/grpc.testing.TestService"},
		{"method", "passthrough:///a.example:443", grpcbreaker.MethodKey, "a.example", "dns:///a.example:443/grpc.testing.TestService/UnaryCall"},
		{"the user's", "passthrough:///a.example:443", func(ctx context.Context, method string, _ *grpc.ClientConn) string {
			return fmt.Sprint(ctx.Value(tenant{}), method)
		}, "default", "blue/grpc.testing.TestService/UnaryCall"},
	} {
		guarded := guard(t, newTelemetry(), grpcbreaker.WithKey(c.key))
		conn := dial(t, c.target, append(guarded.DialOptions(), grpc.WithContextDialer(dialOnly(address)))...)
		client := pb.NewTestServiceClient(conn)
		ctx := context.WithValue(t.Context(), tenant{}, "blue")
		if err := kinds[0].call(ctx, client); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for b := range guarded.Breakers().All() {
			if s := b.Snapshot(); s.Service != c.service || s.Endpoint != c.endpoint || s.Success != 1 {
				t.Errorf("%s: service %q, endpoint %q, %d calls", c.name, s.Service, s.Endpoint, s.Success)
			}
		}
	}
}

type tenant struct{}

// unused is a connection that nobody uses.
func unused(t testing.TB, target string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestG12_AnEndpointHasOneKeyHoweverItsTargetIsWritten(t *testing.T) {
	group, err := breaker.NewGroup(breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, service string
		targets      []string
	}{
		{"dns:///payments.example:443", "payments.example", []string{
			"payments.example", "payments.example:443", "Payments.EXAMPLE:0443", "payments.example:https", "dns:payments.example", "dns:///payments.example",
			"dns:///payments.example:443", "DNS:///payments.example:443", "dns:///PAYMENTS.example", "passthrough:///payments.example:443",
			"passthrough:payments.example:443", "PassThrough://whatever/Payments.example:443",
			"dns:///payments.example:443?token=secret#secret"}},
		{"dns:///payments.example:8443", "payments.example", []string{"payments.example:8443", "passthrough:///payments.example:8443"}},
		{"dns:///payments.example.:443", "payments.example.", []string{"payments.example.", "passthrough:///payments.example.:443"}},
		{"dns://192.0.2.53:53/payments.example:443", "payments.example", []string{
			"dns://192.0.2.53:53/payments.example", "dns://user:secret@192.0.2.53:53/Payments.example:443"}},
		{"dns://resolver.example/payments.example:443", "payments.example", []string{"dns://Resolver.example/payments.example"}},
		{"dns:///192.0.2.1:443", "192.0.2.1", []string{"192.0.2.1", "192.0.2.1:443", "[::ffff:192.0.2.1]:443",
			"dns:///::ffff:192.0.2.1", "[::FFFF:c000:201]", "passthrough:///[::ffff:192.0.2.1]:443"}},
		{"dns:///[2001:db8::1]:443", "2001:db8::1", []string{"2001:db8::1", "[2001:db8::1]", "[2001:DB8:0::0001]:443",
			"dns:///[2001:db8::1]:443", "passthrough:///[2001:db8:0:0::1]:443"}},
		{"dns:///[fe80::1%25eth0]:443", "fe80::1%eth0", []string{"dns:///[fe80::1%25eth0]:443", "dns:///[FE80::1%25eth0]"}},
		{"dns:///localhost:8443", "localhost", []string{":8443", "localhost:8443", "passthrough:///:8443"}},
		// What may stand for anything stays.
		{"passthrough:///payments", "payments", []string{"passthrough:///payments"}},
		{"passthrough:///Payments", "Payments", []string{"passthrough:///Payments"}},
		{"passthrough:///a b:443", "default", []string{"passthrough:///a b:443"}},
		{"unix:///run/Payments.sock", "default", []string{"unix:///run/Payments.sock", "unix:/run/Payments.sock"}},
		{"unix-abstract:///payments", "payments", []string{"unix-abstract:payments"}},
	} {
		for _, target := range c.targets {
			conn := unused(t, target)
			for range 2 { // once made, once remembered
				if got := grpcbreaker.TargetKey(t.Context(), "/a.B/C", conn); got != c.key {
					t.Errorf("%s has the key %s, want %s", target, got, c.key)
				}
			}
			b := group.Get(grpcbreaker.MethodKey(t.Context(), "/a.B/C", conn)).Snapshot()
			if b.Endpoint != c.key+"/a.B/C" {
				t.Errorf("%s: a method's endpoint is %s", target, b.Endpoint)
			}
			if got := group.Get(c.key).Snapshot().Service; got != c.service {
				t.Errorf("%s is of service %q, want %q", target, got, c.service)
			}
		}
	}
}

// Some resolver of the user's own, whose targets are not ours to interpret.
func TestTheKeyOfAnothersTargetIsTheTarget(t *testing.T) {
	own := manual.NewBuilderWithScheme("registry")
	own.InitialState(resolver.State{})
	conn := unused(t, "registry://Cluster/Payments", grpc.WithResolvers(own))
	if got := grpcbreaker.TargetKey(t.Context(), "/a.B/C", conn); got != "registry://Cluster/Payments" {
		t.Errorf("the key is %s", got)
	}
}

// The same text is two targets where only one of the connections has the resolver that it asks for.
func TestTheKeyIsOfTheConnectionAndNotOfItsText(t *testing.T) {
	own := manual.NewBuilderWithScheme("registry")
	own.InitialState(resolver.State{})
	// A name of its own each time: what another test's connection had, one in its place in memory takes over.
	target := "registry:///" + rand.Text()
	for range 1_000 { // so that some fall into one slot
		for want, conn := range map[string]*grpc.ClientConn{
			target:             unused(t, target, grpc.WithResolvers(own)),
			"dns:///" + target: unused(t, target),
		} {
			if got := grpcbreaker.TargetKey(t.Context(), "", conn); got != want {
				t.Fatalf("the key is %s, want %s", got, want)
			}
		}
	}
}

// One breaker guards all connections to an endpoint, and there are more of them than are remembered at a time.
func TestG12_ManyConnectionsToOneEndpointShareItsBreaker(t *testing.T) {
	guarded := guard(t, newTelemetry())
	port := 10_000
	for i := range 2_000 {
		conn := unused(t, fmt.Sprint("dns:///Host.example:", port+i%4))
		want := fmt.Sprint("dns:///host.example:", port+i%4)
		if got := grpcbreaker.TargetKey(t.Context(), "", conn); got != want {
			t.Fatalf("the key is %s, want %s", got, want)
		}
		_ = guarded.Unary()(t.Context(), "/a.B/C", nil, nil, conn, inert)
		_ = conn.Close()
		if i%500 == 0 {
			runtime.GC() // what is at the same address later is another connection
		}
	}
	n := 0
	for b := range guarded.Breakers().All() {
		n++
		if s := b.Snapshot(); s.Success != 500 {
			t.Errorf("%s had %d calls", s.Endpoint, s.Success)
		}
	}
	if n != 4 {
		t.Errorf("there are %d breakers of 4 endpoints", n)
	}
}

// No form of a target makes the key panic or grow, and its key is its own.
func FuzzTargetKey(f *testing.F) {
	for _, seed := range []string{"a.example", "dns:///[::1]:1", "passthrough:///x", "dns://a@b/c:1", "unix:x", ":1", "dns:///[fe80::1%25a]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Skip()
		}
		defer func() { _ = conn.Close() }()
		key := grpcbreaker.TargetKey(t.Context(), "", conn)
		if !strings.HasPrefix(key, "dns://") {
			if key != conn.CanonicalTarget() {
				t.Errorf("%q has the key %q", target, key)
			}
			return
		}
		again, err := grpc.NewClient(key, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return // as is that of what cannot be an address
		}
		defer func() { _ = again.Close() }()
		if got := grpcbreaker.TargetKey(t.Context(), "", again); got != key && key != conn.CanonicalTarget() {
			t.Errorf("%q has the key %q, which has the key %q", target, key, got)
		}
	})
}

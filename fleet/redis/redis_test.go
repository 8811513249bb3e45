package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	peer "github.com/redis/go-redis/v9"

	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
	"github.com/otelbreaker/otelbreaker/fleet/redis"
)

func TestEngine(t *testing.T) {
	s := startServer(t)
	enginetest.Run(t, enginetest.Store{
		Open: func(t *testing.T) fleet.Engine { return engine(t, s.client(t)) },
		Away: func(*testing.T) { s.kill() },
		Back: s.start,
	})
}

// Keys of one entry, the index and the number are in one slot, and the channel is heard on every node.
func TestEngineOnACluster(t *testing.T) {
	nodes := make([]*server, 3)
	for i := range nodes {
		nodes[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "5000")
	}
	first := nodes[0].client(t)
	for i, n := range nodes {
		from, to := i*16384/len(nodes), (i+1)*16384/len(nodes)-1
		if err := n.client(t).ClusterAddSlotsRange(t.Context(), from, to).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(n.address)
		bus := n.args[len(n.args)-3]
		if err := first.Do(t.Context(), "cluster", "meet", host, port, bus).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) { // nodes tell nobody when they have met
		met := 0
		for _, n := range nodes {
			info, err := n.client(t).ClusterInfo(t.Context()).Result()
			if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") {
				met++
			}
		}
		if met == len(nodes) {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatal("the nodes do not become a cluster")
		}
	}
	enginetest.Run(t, enginetest.Store{Open: func(t *testing.T) fleet.Engine {
		client := peer.NewClusterClient(&peer.ClusterOptions{Addrs: []string{nodes[0].address, nodes[2].address}, ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = client.Close() })
		return engine(t, client)
	}})
}

// permissions are what the package's documentation asks for.
func permissions(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("redis.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(source), "A user of the server needs\n//\n")
	text, _, found := strings.Cut(text, "\n//\n")
	if !found {
		t.Fatal("the package's documentation lists no permissions")
	}
	return strings.Fields(strings.NewReplacer("//", "", "{namespace}", "{"+redis.DefaultNamespace+"}").Replace(text))
}

// With a certificate, and a user who may do what the documentation says and nothing else.
func TestEngineByTLSWithCredentials(t *testing.T) {
	certificate, key, pool := selfSigned(t)
	port := freePort(t)
	s := startServer(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no")
	user := append([]any{"acl", "setuser", "fleet", "on", ">open sesame", "resetkeys", "resetchannels", "-@all"}, anys(permissions(t))...)
	if err := s.client(t).Do(t.Context(), user...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.client(t).Do(t.Context(), "acl", "setuser", "default", "off").Err(); err != nil {
		t.Fatal(err)
	}
	login := func(password string) func(*peer.Options) {
		return func(o *peer.Options) {
			o.Addr = net.JoinHostPort("127.0.0.1", port)
			o.Username, o.Password = "fleet", password
			o.TLSConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
	}
	enginetest.Run(t, enginetest.Store{Open: func(t *testing.T) fleet.Engine {
		return engine(t, s.client(t, login("open sesame")))
	}})

	const wrong = "a wrong secret"
	e := engine(t, s.client(t, login(wrong)))
	putting := e.Put(t.Context(), "v1.a", []byte("1"), time.Minute)
	watching := e.Watch(t.Context(), "v1.", func(fleet.Change) {})
	for _, err := range []error{putting, watching} {
		if err == nil || strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("with a wrong password the error is %v", err)
		}
	}
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

func selfSigned(t *testing.T) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	return write(t, "cert.pem", public), write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})), pool
}

// Redis tells no subscriber of what he has missed: each way to miss something must end the watch.
func TestAWatchThatMayHaveMissedSomethingEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*testing.T, *server, fleet.Engine)
		want string
	}{
		{"its connection is cut", func(t *testing.T, s *server, _ fleet.Engine) {
			if err := s.client(t).Do(t.Context(), "client", "kill", "type", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		}, "EOF"},
		{"all is flushed", func(t *testing.T, s *server, e fleet.Engine) {
			if err := s.client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			put(t, e, "v1.b", "1")
		}, "missed"},
		{"a message is lost", func(t *testing.T, s *server, e fleet.Engine) {
			// As if what was published in between had not come.
			n, err := s.client(t).Get(t.Context(), "{otelbreaker}:number").Int64()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.client(t).Set(t.Context(), "{otelbreaker}:number", n+1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			put(t, e, "v1.b", "1")
		}, "missed"},
		{"the last message is lost", func(t *testing.T, s *server, _ fleet.Engine) {
			n, err := s.client(t).Get(t.Context(), "{otelbreaker}:number").Int64()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.client(t).Set(t.Context(), "{otelbreaker}:number", n+1, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}, "missed"},
		{"the server hangs", func(t *testing.T, s *server, _ fleet.Engine) { s.signal(t, syscall.SIGSTOP) }, "timeout"},
		{"a stranger speaks on the channel", func(t *testing.T, s *server, _ fleet.Engine) {
			if err := s.client(t).Publish(t.Context(), "{otelbreaker}:changes", "hello\x00").Err(); err != nil {
				t.Fatal(err)
			}
		}, "another program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			e := engine(t, s.client(t))
			w := watch(t, e)
			put(t, e, "v1.a", "1")
			w.await(t, fleet.Written, "v1.a", "1")
			test.do(t, s, e)
			if err := w.awaitEnd(t); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the watch ended with %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestAHangingServerHoldsNobodyUp(t *testing.T) {
	s := startServer(t)
	e := engine(t, s.client(t))
	put(t, e, "v1.a", "1")
	s.signal(t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := e.Put(ctx, "v1.a", []byte("2"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put gives %v", err)
	}
	if err := e.Watch(ctx, "v1.", func(fleet.Change) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch gives %v", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("with a context of 200 ms they took %v", took)
	}
}

func TestAFullServerIsAnError(t *testing.T) {
	s := startServer(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	e := engine(t, s.client(t))
	w := watch(t, e)
	value := strings.Repeat("v", fleet.MaxValueSize)
	var err error
	for i := 0; err == nil; i++ {
		if i == 1_000 {
			t.Fatal("a server of 3 MB holds 16 MB")
		}
		err = e.Put(t.Context(), fmt.Sprintf("v1.%d", i), []byte(value), time.Minute)
	}
	if !strings.Contains(err.Error(), "OOM") {
		t.Errorf("the error is %v", err)
	}
	for i := range 20 { // what is there can be taken away, and makes room
		if err := e.CompareAndDelete(t.Context(), fmt.Sprintf("v1.%d", i), []byte(value)); err != nil {
			t.Fatalf("a full server deletes nothing: %v", err)
		}
	}
	put(t, e, "v1.after", "1")
	w.await(t, fleet.Written, "v1.after", "1")
}

// A namespace that nobody uses any more vanishes, and an entry that has expired leaves the index.
func TestOldEntriesExpire(t *testing.T) {
	s := startServer(t)
	client := s.client(t)
	e := engine(t, client)
	w := watch(t, e)
	if err := e.Put(t.Context(), "v1.short", []byte("1"), fleet.MinTTL); err != nil {
		t.Fatal(err)
	}
	w.await(t, fleet.Gone, "v1.short", "")
	for begun := time.Now(); ; { // the server's millisecond may be a later one than the watch's
		put(t, e, "v1.long", "1")
		members, err := client.ZRange(t.Context(), "{otelbreaker}:index", 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(members) == 1 && members[0] == "v1.long" {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("the index holds %q, want the entry that is there", members)
		}
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 3 {
		t.Fatalf("the keys are %q (%v), want three", keys, err)
	}
	for _, key := range keys {
		if left := client.PTTL(t.Context(), key).Val(); left <= 0 || left > 25*time.Hour {
			t.Errorf("%s expires in %v", key, left)
		}
	}
}

func TestNamespacesAreApart(t *testing.T) {
	s := startServer(t)
	mine := engine(t, s.client(t))
	other, err := redis.New(s.client(t), redis.WithNamespace("staging"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, mine, "v1.a", "mine")
	w := watch(t, other)
	put(t, mine, "v1.a", "again")
	put(t, other, "v1.a", "other")
	if c := <-w.changes; string(c.Value) != "other" {
		t.Errorf("told of %q, which is another namespace's", c.Value)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	client := peer.NewClient(&peer.Options{ContextTimeoutEnabled: true})
	defer client.Close()
	late := peer.NewClient(&peer.Options{})
	defer late.Close()
	lateCluster := peer.NewClusterClient(&peer.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer lateCluster.Close()
	for want, make := range map[string]func() (*redis.Engine, error){
		"client is nil":                  func() (*redis.Engine, error) { return redis.New(nil) },
		"ContextTimeoutEnabled":          func() (*redis.Engine, error) { return redis.New(late) },
		"ContextTimeoutEnabled is false": func() (*redis.Engine, error) { return redis.New(lateCluster) },
		"option 0":                       func() (*redis.Engine, error) { return redis.New(client, nil) },
		`WithNamespace is "a{b}"`: func() (*redis.Engine, error) {
			return redis.New(client, redis.WithNamespace("a{b}"))
		},
		`WithNamespace is ""`: func() (*redis.Engine, error) { return redis.New(client, redis.WithNamespace("")) },
		"1 to 64": func() (*redis.Engine, error) {
			return redis.New(client, redis.WithNamespace(strings.Repeat("n", 65)))
		},
	} {
		if e, err := make(); err == nil || e != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestFleetOfAHundred(t *testing.T) {
	s := startServer(t)
	figures := enginetest.Fleet(t, enginetest.Store{
		Open: func(t *testing.T) fleet.Engine { return engine(t, s.client(t)) },
		Away: func(*testing.T) { s.kill() },
		Back: s.start,
	}, 100)
	t.Logf("\n%s", figures.Table())
	if *into != "" {
		if err := figures.Write(*into, "Redis"); err != nil {
			t.Fatal(err)
		}
	}
}

var into = flag.String("figures", "", "a document to write the figures into")

package grpcbreaker

import (
	"context"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
)

// TargetKey has one breaker for each endpoint, in one form of all the ways to write its target: a name or address with
// its port is dns:///payments.example:443. It is the default of [WithKey].
//
// It is in lower case, with the port that gRPC takes where none is written, and an IPv4 address as such also where it is
// written as IPv6. passthrough:///payments.example:443 is the same endpoint, for it differs in who looks the name up; so
// is the bare payments.example:443. Not the same are a name that ends in a dot, which may be looked up elsewhere, and
// dns://resolver.example/payments.example:443, which has asked another server. All other targets stay as the connection
// writes them in full.
func TargetKey(_ context.Context, _ string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return targets.of(cc)
}

// ServiceKey is for [WithKey] and has one breaker for each service of a target, as behind a gateway:
// dns:///gateway.example:443/payments.v1.Charges.
func ServiceKey(ctx context.Context, method string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return TargetKey(ctx, method, cc) + method[:max(0, strings.LastIndexByte(method, '/'))]
}

// MethodKey is for [WithKey] and has one breaker for each method of a target:
// dns:///gateway.example:443/payments.v1.Charges/Create. Mind that they share the bound of [WithMaxEndpoints].
func MethodKey(ctx context.Context, method string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return TargetKey(ctx, method, cc) + method
}

const (
	targetSlots = 512 // twice breaker.DefaultMaxEndpoints, so that few connections share one
	defaultPort = "443"
)

// targets remembers the keys of connections, so that a call costs a look rather than a new string. It is of fixed size,
// and connections that fall into one slot take turns. It keeps none of them in memory, also not by a weak pointer, which
// garbage collection makes calls wait for: they are known by the hash of their address. One that comes to lie where another
// was, and has its target, takes its key over.
var targets = keys{seed: maphash.MakeSeed()}

type keys struct {
	seed  maphash.Seed
	slots [targetSlots]atomic.Pointer[remembered]
}

type remembered struct {
	address     uint64
	target, key string
}

func (k *keys) of(cc *grpc.ClientConn) string {
	address := maphash.Comparable(k.seed, cc)
	slot := &k.slots[address%targetSlots]
	if r := slot.Load(); r != nil && r.address == address && r.target == cc.Target() {
		return r.key
	}
	key := endpoint(cc.CanonicalTarget())
	slot.Store(&remembered{address, cc.Target(), key})
	return key
}

// endpoint gives the one form of a target that is written in full, scheme://authority/endpoint, with the scheme in lower
// case.
func endpoint(target string) string {
	scheme, rest, _ := strings.Cut(target, "://")
	authority, address, _ := strings.Cut(rest, "/")
	switch scheme {
	case "dns":
		authority = strings.ToLower(authority[strings.LastIndexByte(authority, '@')+1:])
	case "passthrough": // which leaves the authority unread
		authority = ""
	default:
		return target
	}
	host, port, found := splitAddress(address)
	if !found && scheme == "passthrough" || host == "" || port == "" {
		return target // it may stand for anything, to whatever dials
	}
	return "dns://" + authority + "/" + net.JoinHostPort(host, port)
}

// splitAddress gives the host of an address in its one form, or "" where it is none, and the port, also where that is not
// written, as the resolver of gRPC does.
func splitAddress(address string) (host, port string, found bool) {
	switch h, p, err := net.SplitHostPort(address); {
	case address == "", err == nil && p == "": // which the resolver refuses
		return "", "", false
	case err == nil:
		host, port, found = h, canonicalPort(p), true
		if host == "" {
			host = "localhost"
		}
	default:
		host, port = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), defaultPort
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.WithZone(""); ip.Is4In6() {
			return ip.Unmap().String(), port, found
		}
		_, zone, _ := strings.Cut(host, "%")
		if !plain(zone) {
			return "", "", false
		} else if zone != "" {
			zone = "%25" + zone // for the key is a URL
		}
		return ip.String() + zone, port, found
	}
	if !plain(host) {
		return "", "", false
	}
	return strings.ToLower(host), port, found
}

// plain tells whether a text has none but the characters that the name of a host can have.
func plain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

// canonicalPort gives the number of a port, also of one that is named, as https is, and "" where it has none.
func canonicalPort(port string) string {
	n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	if err != nil {
		return ""
	}
	return strconv.Itoa(n)
}

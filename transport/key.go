package transport

import (
	"hash/maphash"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/net/idna"
)

const (
	keySlots  = 512 // twice breaker.DefaultMaxEndpoints, so that few hosts share one
	maxDomain = 253 // characters, as in DNS
	maxHost   = 4 * maxDomain
	maxScheme = 32
)

// keys makes the keys of requests and remembers those it made of late, so that a call costs a look rather than a new
// string. It is of fixed size: hosts that fall into one slot take turns.
type keys struct {
	seed  maphash.Seed
	slots [keySlots]atomic.Pointer[remembered]
}

type remembered struct{ scheme, host, key string }

func newKeys() *keys { return &keys{seed: maphash.MakeSeed()} }

// of gives scheme://host[:port] of the request's URL, and "" where that has no proper scheme or host.
func (k *keys) of(req *http.Request) string {
	scheme, host := req.URL.Scheme, req.URL.Host
	if len(host) > maxHost || len(scheme) > maxScheme {
		return ""
	}
	slot := &k.slots[(maphash.String(k.seed, host)+uint64(len(scheme)))%keySlots]
	if r := slot.Load(); r != nil && r.host == host && r.scheme == scheme {
		return r.key
	}
	key := endpoint(scheme, host)
	// Copies, for these may be parts of a long URL.
	slot.Store(&remembered{strings.Clone(scheme), strings.Clone(host), key})
	return key
}

// endpoint gives the one form of all the ways to write an endpoint: lower case, punycode, no default port. It is an
// URL, and goes into every signal. What cannot be the name of a host, and so might be anything, gives "".
func endpoint(scheme, host string) string {
	u := url.URL{Host: host}
	name, port := u.Hostname(), u.Port()
	if strings.Contains(name, ":") {
		name = bracketed(name)
	} else if name = domain(name); len(name) > maxDomain {
		name = ""
	}
	if name == "" || !isScheme(scheme) {
		return ""
	}
	scheme = strings.ToLower(scheme)
	if port = canonicalPort(port); port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return scheme + "://" + name
	}
	return scheme + "://" + name + ":" + port
}

// domain gives a name as it is looked up: net/http asks the same of the same package.
func domain(name string) string {
	for i := range len(name) {
		if name[i] >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil {
				return ""
			}
			name = ascii
			break
		}
	}
	if !plain(name) {
		return ""
	}
	return strings.ToLower(name)
}

// bracketed gives an IPv6 address as it stands in a URL, and an IPv4 one that is written so as such, since that is where
// net connects.
func bracketed(name string) string {
	ip, err := netip.ParseAddr(name)
	if err != nil || !plain(ip.Zone()) {
		return ""
	}
	if ip.Is4In6() && ip.Zone() == "" {
		return ip.Unmap().String()
	}
	zone := ""
	if ip.Zone() != "" {
		zone = "%25" + ip.Zone()
	}
	return "[" + ip.WithZone("").String() + zone + "]"
}

// plain tells whether a name has none but the characters that a name can have.
func plain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// isScheme tells whether a scheme is one, as that of a URL made by hand need not be.
func isScheme(scheme string) bool {
	for i := range len(scheme) {
		switch c := scheme[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return scheme != ""
}

func canonicalPort(port string) string {
	if trimmed := strings.TrimLeft(port, "0"); trimmed != "" {
		return trimmed
	}
	return port
}

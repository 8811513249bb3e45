package faulty

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Proxy passes requests on to the server of target, of which only scheme and host matter. One that cannot be reached is
// answered for with 502.
func Proxy(target *url.URL, base http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport: base,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = target.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as it is, also what net/url cannot parse
		},
		// A redirect within the server stays behind the proxy.
		ModifyResponse: func(res *http.Response) error {
			here, known := res.Request.Context().Value(http.LocalAddrContextKey).(net.Addr)
			to, err := res.Location()
			if known && err == nil && to.Scheme == target.Scheme && to.Host == target.Host {
				to.Scheme, to.Host = "http", here.String()
				res.Header.Set("Location", to.String())
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:     log.New(io.Discard, "", 0), // it would hold the texts of errors
	}
}

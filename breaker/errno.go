//go:build !plan9

package breaker

import (
	"errors"
	"syscall"
)

// Windows has numbers of its own for sockets; package syscall knows few of them, and no other system uses them.
const (
	wsaAddressNotAvailable = syscall.Errno(10049 + iota)
	_                      // the network is down
	wsaNetworkUnreachable
	_ // the network was reset
	wsaAborted
	wsaReset
)

const (
	wsaRefused         = syscall.Errno(10061)
	wsaHostUnreachable = syscall.Errno(10065)
)

var errnoTypes = map[syscall.Errno]string{
	syscall.ECONNREFUSED: errorTypeRefused, wsaRefused: errorTypeRefused,
	syscall.ECONNRESET: errorTypeReset, wsaReset: errorTypeReset,
	syscall.ECONNABORTED: errorTypeAborted, wsaAborted: errorTypeAborted,
	syscall.EPIPE:        errorTypeBrokenPipe,
	syscall.EHOSTUNREACH: errorTypeHost, wsaHostUnreachable: errorTypeHost,
	syscall.ENETUNREACH: errorTypeNetwork, wsaNetworkUnreachable: errorTypeNetwork,
	syscall.EADDRNOTAVAIL: errorTypeAddress, wsaAddressNotAvailable: errorTypeAddress,
	syscall.EMFILE: errorTypeFiles, syscall.ENFILE: errorTypeFiles,
}

func errnoType(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errnoTypes[errno]
	}
	return ""
}

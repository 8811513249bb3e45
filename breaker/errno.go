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

func errnoType(err error) string {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return ""
	}
	switch errno {
	case syscall.ECONNREFUSED, wsaRefused:
		return errorTypeRefused
	case syscall.ECONNRESET, wsaReset:
		return errorTypeReset
	case syscall.ECONNABORTED, wsaAborted:
		return errorTypeAborted
	case syscall.EPIPE:
		return errorTypeBrokenPipe
	case syscall.EHOSTUNREACH, wsaHostUnreachable:
		return errorTypeHost
	case syscall.ENETUNREACH, wsaNetworkUnreachable:
		return errorTypeNetwork
	case syscall.EADDRNOTAVAIL, wsaAddressNotAvailable:
		return errorTypeAddress
	case syscall.EMFILE, syscall.ENFILE:
		return errorTypeFiles
	}
	return ""
}

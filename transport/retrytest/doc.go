// Package retrytest tests breakers beneath a client that retries, hashicorp/go-retryablehttp, and shows how to put the two
// together. It is a module of its own, so that nobody has to fetch that client who does not use it.
package retrytest

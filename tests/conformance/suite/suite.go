// Package conformance holds the versions of Kubernetes' end-to-end suite. Nothing is in it: the suite's
// program is built from the module k8s.io/kubernetes itself, as go.mod names it.
package conformance

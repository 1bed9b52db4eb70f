// Command generate prints the schema table of Kubernetes' built-in types.
//
// It reads the Go structures that client-go, apiextensions-apiserver and kube-aggregator register
// (reflection over their struct tags gives names, types, pointers, protobuf numbers and patch
// strategies) and the marker comments above their declarations (list types, map keys, defaults,
// enumerations, optional fields). Only facts are printed, no descriptions.
//
//	go run . > ../types.txt
//
// To move to another minor of Kubernetes, change the versions in go.mod and run it again.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// groupVersions are those that kube-apiserver 1.35 serves by default, discovery's own, and that of the
// mutating admission policies.
var groupVersions = []string{
	"v1", "admissionregistration.k8s.io/v1", mutatingPolicies, "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1",
	"apps/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "autoscaling/v1",
	"autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
	"discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1",
	"networking.k8s.io/v1", "node.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1",
	"resource.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1", "apidiscovery.k8s.io/v2",
}

// mutatingPolicies is a group version of which only the kinds that v1 does not have are taken.
const mutatingPolicies = "admissionregistration.k8s.io/v1beta1"

// metaKinds are shared by all groups.
var metaKinds = []any{
	metav1.Status{}, metav1.List{}, metav1.DeleteOptions{}, metav1.CreateOptions{},
	metav1.UpdateOptions{}, metav1.PatchOptions{}, metav1.GetOptions{}, metav1.ListOptions{},
	metav1.Table{}, metav1.PartialObjectMetadata{}, metav1.PartialObjectMetadataList{},
	metav1.APIVersions{}, metav1.APIGroup{}, metav1.APIGroupList{}, metav1.APIResourceList{},
	metav1.WatchEvent{}, metav1.LabelSelector{},
}

func main() {
	t := table{types: map[string]*entry{}, sources: newSources()}
	t.addKinds()
	t.print()
}

func (t *table) addKinds() {
	registered := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme,
	} {
		if err := add(registered); err != nil {
			fail("register types: %v", err)
		}
	}
	for _, text := range groupVersions {
		gv, err := schema.ParseGroupVersion(text)
		if err != nil {
			fail("group version %q: %v", text, err)
		}
		for kind, goType := range registered.KnownTypes(gv) {
			if text == mutatingPolicies && !strings.HasPrefix(kind, "MutatingAdmissionPolicy") {
				continue
			}
			if !strings.HasPrefix(goType.PkgPath(), "k8s.io/apimachinery/") {
				e := t.add(goType)
				e.kinds = append(e.kinds, text+" "+kind)
			}
		}
	}
	for _, kind := range metaKinds {
		goType := reflect.TypeOf(kind)
		e := t.add(goType)
		e.kinds = append(e.kinds, "meta.k8s.io/v1 "+goType.Name())
	}
}

func (t *table) print() {
	names := make([]string, 0, len(t.types))
	for name := range t.types {
		names = append(names, name)
	}
	sort.Strings(names)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, "# Made by api/schema/generate from Kubernetes 1.35; change that, not this.")
	fmt.Fprintln(out, "# =type, flags, kinds; then its fields: name, type, protobuf number, flags, extras.")
	fmt.Fprintln(out, "# flags: o omitempty, z omitzero, p pointer, r required, a atomic.")
	for _, name := range names {
		e := t.types[name]
		sort.Strings(e.kinds)
		head := append([]string{"=" + name, e.flags}, e.kinds...)
		fmt.Fprintln(out, strings.TrimRight(strings.Join(head, "\t"), "\t"))
		sort.Slice(e.fields, func(i, j int) bool { return e.fields[i].name < e.fields[j].name })
		for _, f := range e.fields {
			fmt.Fprintln(out, strings.TrimRight(f.line(), "\t"))
		}
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "generate: "+format+"\n", arguments...)
	os.Exit(1)
}

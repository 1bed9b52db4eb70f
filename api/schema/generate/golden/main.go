// Command golden prints objects of every built-in kind, filled at random, in both encodings.
//
//	go run ./golden SEED COUNT [KIND...] > objects.txt
//
// Each line is `apiVersion kind json base64(protobuf)`, made by Kubernetes' own serializers.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	fuzzer "k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"math/rand"
)

var groupVersions = []string{
	"v1", "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1",
	"apps/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "autoscaling/v1",
	"autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
	"discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1",
	"networking.k8s.io/v1", "node.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1",
	"resource.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1",
}

func main() {
	seed, err := strconv.ParseInt(os.Args[1], 10, 64)
	must(err)
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	registered := runtime.NewScheme()
	must(scheme.AddToScheme(registered))
	must(apiextensions.AddToScheme(registered))
	must(apiregistration.AddToScheme(registered))
	codecs := serializer.NewCodecFactory(registered)
	source := rand.NewSource(seed)
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, source, codecs).NilChance(0.6).NumElements(0, 2)
	toJSON := jsonserializer.NewSerializerWithOptions(
		jsonserializer.DefaultMetaFactory, registered, registered, jsonserializer.SerializerOptions{})
	toProto := protobuf.NewSerializer(registered, registered)
	for _, text := range groupVersions {
		gv, err := schema.ParseGroupVersion(text)
		must(err)
		kinds := []string{}
		for kind, goType := range registered.KnownTypes(gv) {
			wanted := len(os.Args) < 4 || slices.Contains(os.Args[3:], kind)
			if wanted && !strings.HasPrefix(goType.PkgPath(), "k8s.io/apimachinery/") {
				kinds = append(kinds, kind)
			}
		}
		sort.Strings(kinds)
		for _, kind := range kinds {
			for range count {
				gvk := gv.WithKind(kind)
				object, err := registered.New(gvk)
				must(err)
				fill.Fill(object)
				object.GetObjectKind().SetGroupVersionKind(gvk)
				var asJSON, asProto bytes.Buffer
				if toJSON.Encode(object, &asJSON) != nil || toProto.Encode(object, &asProto) != nil {
					continue
				}
				fmt.Printf("%s %s %s %s\n", text, kind,
					base64.StdEncoding.EncodeToString(bytes.TrimSpace(asJSON.Bytes())),
					base64.StdEncoding.EncodeToString(asProto.Bytes()))
			}
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "golden:", err)
		os.Exit(1)
	}
}

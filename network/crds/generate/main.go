// Makes ../gateway.json of the Gateway API's published module: its resource definitions of the
// standard channel, without their prose. `go run . > ../gateway.json`
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// The module, and the kinds that hosts serve.
const module = "sigs.k8s.io/gateway-api@v1.5.1"

var plurals = []string{
	"gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "referencegrants",
}

func main() {
	downloaded, err := exec.Command("go", "mod", "download", "-json", module).Output()
	check(err)
	var found struct{ Dir string }
	check(json.Unmarshal(downloaded, &found))
	var all []any
	for _, plural := range plurals {
		name := "gateway.networking.k8s.io_" + plural + ".yaml"
		path := filepath.Join(found.Dir, "config/crd/standard", name)
		text, err := os.ReadFile(path)
		check(err)
		var definition map[string]any
		check(yaml.Unmarshal(text, &definition))
		delete(definition, "status")
		served(definition["spec"].(map[string]any))
		all = append(all, bare(definition, false))
	}
	text, err := json.Marshal(all)
	check(err)
	fmt.Println(strings.ReplaceAll(string(text), `{"apiVersion":"apiextensions`, "\n"+`{"apiVersion":"apiextensions`))
}

// served leaves out versions that nobody can ask for.
func served(spec map[string]any) {
	var kept []any
	for _, version := range spec["versions"].([]any) {
		if version.(map[string]any)["served"] == true {
			kept = append(kept, version)
		}
	}
	spec["versions"] = kept
}

// bare drops descriptions, and the messages of rules, which say in words what the rule does. A
// property may be called like either.
func bare(value any, names bool) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, inner := range value {
			_, text := inner.(string)
			if !names && text && (key == "description" || key == "message") {
				continue
			}
			if !names && key == "default" {
				out[key] = ours(inner)
				continue
			}
			out[key] = bare(inner, key == "properties")
		}
		return out
	case []any:
		out := []any{}
		for _, inner := range value {
			out = append(out, bare(inner, false))
		}
		return out
	default:
		return value
	}
}

// ours gives the messages in default values, which must be there, words of our own.
func ours(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if _, text := inner.(string); text && key == "message" {
				value[key] = "nobody has looked at it yet"
			} else {
				value[key] = ours(inner)
			}
		}
	case []any:
		for index, inner := range value {
			value[index] = ours(inner)
		}
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// table collects the types that are reachable from the kinds.
type table struct {
	types   map[string]*entry
	sources *sources
}

// entry is one structure of the table.
type entry struct {
	flags  string
	kinds  []string
	fields []field
}

// field is one line of the table.
type field struct {
	name, typ, proto, flags string
	extras                  []string
}

func (f field) line() string {
	return strings.Join(append([]string{f.name, f.typ, f.proto, f.flags}, f.extras...), "\t")
}

// noProto stands for the message of inlined fields that are not sent.
const noProto = "-"

// special are types with a JSON form of their own.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                                         "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "fieldsv1",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "intorstring",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "json",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "schemaorbool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "schemaorarray",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "schemaorstrings",
}

// scalars are the Go kinds that need no structure.
var scalars = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "bool", reflect.Int32: "int32", reflect.Int64: "int64",
	reflect.Float64: "double", reflect.Int: "int64", reflect.Interface: "json",
}

// openAPIName turns a Go type into its published name, `io.k8s.api.core.v1.Pod`.
func openAPIName(goType reflect.Type) string {
	domain, path, _ := strings.Cut(goType.PkgPath(), "/")
	parts := strings.Split(domain, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(path, "/", ".") + "." + goType.Name()
}

// add puts a structure and all that it refers to into the table.
func (t *table) add(goType reflect.Type) *entry {
	name := openAPIName(goType)
	if known, ok := t.types[name]; ok {
		return known
	}
	e := &entry{}
	t.types[name] = e
	if t.sources.typeMarkers(goType)["structType"] == "atomic" {
		e.flags = "a"
	}
	t.addFields(e, goType, "")
	return e
}

// addFields adds the fields of a structure; inlined structures become part of their parent, and
// `via` says in which protobuf message their fields travel.
func (t *table) addFields(e *entry, goType reflect.Type, via string) {
	for i := range goType.NumField() {
		member := goType.Field(i)
		name, options, _ := strings.Cut(member.Tag.Get("json"), ",")
		if name == "-" || !member.IsExported() {
			continue
		}
		proto, _ := protoNumber(member)
		if name == "" && (member.Anonymous || strings.Contains(options, "inline")) {
			inner := member.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			// Without a number (TypeMeta) the inlined fields are never sent.
			path := noProto
			if proto != "" && via != noProto {
				path = strings.TrimPrefix(via+"."+proto, ".")
			}
			t.addFields(e, inner, path)
			continue
		}
		e.fields = append(e.fields, t.field(goType, member, name, options, via))
	}
}

func (t *table) field(parent reflect.Type, member reflect.StructField, name, options, via string) field {
	markers := t.sources.fieldMarkers(parent, member.Name)
	f := field{name: name, typ: t.typeOf(member.Type)}
	f.proto, _ = protoNumber(member)
	if f.proto == "" || via == noProto {
		f.proto, via = "0", ""
	}
	f.flags = flags(member, options, markers)
	typeMarkers := t.sources.typeMarkers(member.Type)
	f.extra("list", markers["listType"], typeMarkers["listType"])
	f.extra("keys", markers["listMapKey"], typeMarkers["listMapKey"])
	f.extra("patch", member.Tag.Get("patchStrategy"))
	f.extra("mergeKey", member.Tag.Get("patchMergeKey"))
	f.extra("default", t.sources.resolve(parent, markers["default"]))
	f.extra("enum", t.sources.enumeration(member.Type))
	f.extra("via", via)
	if wrapped(member) {
		f.extra("wrapped", "1")
	}
	return f
}

// flags tells what Go does with the zero value and whether the field is required.
func flags(member reflect.StructField, options string, markers map[string]string) string {
	text := ""
	omit := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
	if omit {
		text += "o"
	}
	if strings.Contains(options, "omitzero") {
		text += "z"
	}
	if member.Type.Kind() == reflect.Pointer {
		text += "p"
	}
	if _, optional := markers["optional"]; !optional && !omit {
		text += "r"
	}
	if markers["mapType"] == "atomic" || markers["structType"] == "atomic" {
		text += "a"
	}
	return text
}

// extra appends `key=value` for the first value that is not empty.
func (f *field) extra(key string, values ...string) {
	for _, value := range values {
		if value != "" {
			f.extras = append(f.extras, key+"="+value)
			return
		}
	}
}

// typeOf names the type of a field in the table's own words.
func (t *table) typeOf(goType reflect.Type) string {
	if word, ok := special[goType.PkgPath()+"."+goType.Name()]; ok {
		return word
	}
	if word, ok := scalars[goType.Kind()]; ok {
		return word
	}
	switch goType.Kind() {
	case reflect.Pointer:
		return t.typeOf(goType.Elem())
	case reflect.Struct:
		t.add(goType)
		return "@" + openAPIName(goType)
	case reflect.Map:
		return "{}" + t.typeOf(goType.Elem())
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + t.typeOf(goType.Elem())
	}
	panic(fmt.Sprintf("no word for Go type %s", goType))
}

// protoNumber reads the number and the repetition (`opt` or `rep`) of a protobuf tag.
func protoNumber(member reflect.StructField) (number, repetition string) {
	parts := strings.Split(member.Tag.Get("protobuf"), ",")
	if len(parts) < 3 {
		return "", ""
	}
	return parts[1], parts[2]
}

// wrapped is true for a list (or list in a map) that travels inside a message of its own with one repeated field.
func wrapped(member reflect.StructField) bool {
	_, repetition := protoNumber(member)
	goType := member.Type
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if goType.Kind() == reflect.Map {
		goType, repetition = goType.Elem(), "opt"
	}
	bytes := goType.Kind() == reflect.Slice && goType.Elem().Kind() == reflect.Uint8
	return goType.Kind() == reflect.Slice && !bytes && goType.Name() != "" && repetition == "opt"
}

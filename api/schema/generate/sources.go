package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// sources gives the marker comments of declarations, reading each package once.
type sources struct {
	packages map[string]*declarations
}

// declarations is what is known of one package.
type declarations struct {
	types  map[string]map[string]string
	fields map[string]map[string]string
	// values of constants by their type, and by their name
	constants map[string][]string
	values    map[string]string
}

func newSources() *sources { return &sources{packages: map[string]*declarations{}} }

// typeMarkers returns the markers above a type's declaration.
func (s *sources) typeMarkers(goType reflect.Type) map[string]string {
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if goType.PkgPath() == "" {
		return nil
	}
	return s.of(goType.PkgPath()).types[goType.Name()]
}

// fieldMarkers returns the markers above a field.
func (s *sources) fieldMarkers(parent reflect.Type, field string) map[string]string {
	return s.of(parent.PkgPath()).fields[parent.Name()+"."+field]
}

// enumeration returns the values of an `+enum` type (or of the items of a list or map).
func (s *sources) enumeration(goType reflect.Type) string {
	switch goType.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return s.enumeration(goType.Elem())
	case reflect.String:
	default:
		return ""
	}
	if _, marked := s.typeMarkers(goType)["enum"]; !marked {
		return ""
	}
	values := slices.Clone(s.of(goType.PkgPath()).constants[goType.Name()])
	slices.Sort(values)
	return strings.Join(slices.Compact(values), ",")
}

// resolve replaces `ref(Constant)` in a default by the constant's value.
func (s *sources) resolve(parent reflect.Type, text string) string {
	name, isReference := strings.CutPrefix(text, "ref(")
	if !isReference {
		return text
	}
	name = strings.TrimSuffix(name, ")")
	pkg := parent.PkgPath()
	if dot := strings.LastIndex(name, "."); dot >= 0 {
		pkg, name = name[:dot], name[dot+1:]
	}
	value, ok := s.of(pkg).values[name]
	if !ok {
		fail("default of %s refers to unknown constant %s", parent, text)
	}
	return strconv.Quote(value)
}

func (s *sources) of(pkg string) *declarations {
	if known, ok := s.packages[pkg]; ok {
		return known
	}
	d := &declarations{
		types: map[string]map[string]string{}, fields: map[string]map[string]string{},
		constants: map[string][]string{}, values: map[string]string{},
	}
	s.packages[pkg] = d
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}\n{{range .GoFiles}}{{.}}\n{{end}}", pkg).Output()
	if err != nil {
		fail("find sources of %s: %v", pkg, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, file := range lines[1:] {
		d.read(lines[0] + "/" + file)
	}
	return d
}

func (d *declarations) read(path string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		fail("parse %s: %v", path, err)
	}
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				d.readType(general, spec)
			case *ast.ValueSpec:
				d.readConstant(spec)
			}
		}
	}
}

func (d *declarations) readType(general *ast.GenDecl, spec *ast.TypeSpec) {
	doc := spec.Doc
	if doc == nil {
		doc = general.Doc
	}
	d.types[spec.Name.Name] = markers(doc)
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, member := range structure.Fields.List {
		for _, name := range member.Names {
			d.fields[spec.Name.Name+"."+name.Name] = markers(member.Doc)
		}
	}
}

func (d *declarations) readConstant(spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if i >= len(spec.Values) {
			return
		}
		literal, ok := spec.Values[i].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			fail("constant %s: %v", name.Name, err)
		}
		d.values[name.Name] = value
		if typ, ok := spec.Type.(*ast.Ident); ok {
			d.constants[typ.Name] = append(d.constants[typ.Name], value)
		}
	}
}

// markers reads the `+key=value` lines of a comment; a repeated key becomes a comma list.
func markers(doc *ast.CommentGroup) map[string]string {
	found := map[string]string{}
	if doc == nil {
		return found
	}
	for _, comment := range doc.List {
		text := strings.TrimSpace(strings.TrimPrefix(comment.Text, "//"))
		text, isMarker := strings.CutPrefix(text, "+")
		if !isMarker {
			continue
		}
		key, value, _ := strings.Cut(text, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if previous, again := found[key]; again && key == "listMapKey" {
			value = previous + "," + value
		}
		found[key] = value
	}
	return found
}

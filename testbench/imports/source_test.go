package imports

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

const maxLines = 450

// maySleep lists the packages in which time.Sleep is part of the work, and why; conformance suites may as tests may.
// Anywhere else it hides a race, or ignores a context that ends.
var maySleep = map[string]string{
	"testbench/volume": "a disk is filled at a pace",
}

// makesConstant are the calls whose result never changes once it is made.
var makesConstant = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "template.Must", "strings.NewReplacer",
	"strings.Repeat", "crc32.MakeTable", "crc64.MakeTable", "reflect.TypeOf", "reflect.TypeFor", "netip.MustParsePrefix",
	"bytes.Repeat", "filepath.Join", "time.Date",
}

// checkSource holds the code of one package, tests apart, against the rules that need no table.
func checkSource(p pkg) (complaints []string) {
	complain := func(f file, at ast.Node, format string, args ...any) {
		position := p.fset.Position(at.Pos())
		complaints = append(complaints, fmt.Sprintf("%s:%d: ", f.path, position.Line)+fmt.Sprintf(format, args...))
	}
	if p.doc == "" && slices.ContainsFunc(p.files, func(f file) bool { return !f.test }) {
		complaints = append(complaints, fmt.Sprintf("%s: no package comment: say what the package promises and what a caller "+
			"may not assume", p.path))
	}
	for _, f := range p.files {
		if f.test {
			continue
		}
		if f.lines > maxLines {
			complaints = append(complaints, fmt.Sprintf("%s: %d lines, at most %d: it is two things by now", f.path, f.lines, maxLines))
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					complain(f, n, "init(): nothing happens before main says so; make a table, or call it from run.go")
				}
			case *ast.CallExpr:
				if _, ok := maySleep[p.path]; !ok && conformance(p.path) == "" && name(n.Fun) == "time.Sleep" {
					complain(f, n, "time.Sleep: wait for what is awaited, or for a timer and the context; "+
						"where the pause is the work, add the package to maySleep in testbench/imports")
				}
			}
			return true
		})
	}
	return append(complaints, checkState(p)...)
}

// checkState looks for package-level variables that can change.
func checkState(p pkg) (complaints []string) {
	scope, info := resolve(p)
	for _, f := range p.files {
		if f.test {
			continue
		}
		complain := func(at ast.Node, what, why string) {
			complaints = append(complaints, fmt.Sprintf("%s:%d: package variable %s %s: state belongs to a value that somebody made",
				f.path, p.fset.Position(at.Pos()).Line, what, why))
		}
		for _, decl := range f.syntax.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				spec := spec.(*ast.ValueSpec)
				if embeds(vars, spec) {
					continue
				}
				for i, id := range spec.Names {
					switch {
					case id.Name == "_":
					case len(spec.Values) == 0 && name(spec.Type) == "string": // nobody but the linker can set it
					case len(spec.Values) == 0:
						complain(id, id.Name, "has no value yet")
					case !constant(spec.Values[min(i, len(spec.Values)-1)]):
						complain(id, id.Name, "holds what can change")
					}
				}
			}
		}
		state := func(x ast.Expr) (string, bool) {
			id := base(x)
			if id == nil {
				return "", false
			}
			v, ok := info.Uses[id].(*types.Var)
			return id.Name, ok && v.Parent() == scope
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			var changed []ast.Expr
			why := "is assigned"
			switch n := n.(type) {
			case *ast.AssignStmt:
				changed = n.Lhs
			case *ast.IncDecStmt:
				changed = []ast.Expr{n.X}
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					changed = []ast.Expr{n.Key, n.Value}
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					changed, why = []ast.Expr{n.X}, "has its address taken"
				}
			case *ast.CallExpr:
				if f := name(n.Fun); (f == "delete" || f == "clear" || f == "copy") && len(n.Args) > 0 {
					changed, why = n.Args[:1], "is changed"
				}
			}
			for _, x := range changed {
				if id, ok := state(x); ok {
					complain(x, id, why)
				}
			}
			return true
		})
	}
	return complaints
}

// resolve tells for each identifier what it denotes. Other packages are not read: what is asked is only whether it is
// a variable of this one.
func resolve(p pkg) (*types.Scope, *types.Info) {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}}
	var files []*ast.File
	for _, f := range p.files {
		if !f.test {
			files = append(files, f.syntax)
		}
	}
	checked, _ := config.Check(p.path, p.fset, files, info)
	return checked.Scope(), info
}

type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not read") }

// embeds says that the variable is filled at build time.
func embeds(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// constant says that the value cannot change as long as nobody assigns to it: a literal, a table of them, a function,
// or the result of a call that makesConstant lists. Not a pointer, a channel, or an empty map that waits to be filled.
func constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr, *ast.FuncLit:
		return true
	case *ast.CompositeLit:
		_, isMap := x.Type.(*ast.MapType)
		return !isMap || len(x.Elts) > 0
	case *ast.ParenExpr:
		return constant(x.X)
	case *ast.UnaryExpr:
		return x.Op != token.AND && x.Op != token.ARROW && constant(x.X)
	case *ast.BinaryExpr:
		return constant(x.X) && constant(x.Y)
	case *ast.CallExpr:
		if _, ok := x.Fun.(*ast.ArrayType); ok { // a conversion such as []byte("…")
			return true
		}
		return slices.Contains(makesConstant, name(x.Fun))
	default:
		return false
	}
}

// name is an identifier's name, with its package if it has one.
func name(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		if of := name(x.X); of != "" {
			return of + "." + x.Sel.Name
		}
	}
	return ""
}

// base is the variable that an assignment to x changes: v in v.f[i].g; nil when x goes through a call.
func base(x ast.Expr) *ast.Ident {
	for {
		switch y := x.(type) {
		case *ast.Ident:
			return y
		case *ast.SelectorExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.SliceExpr:
			x = y.X
		case *ast.StarExpr:
			x = y.X
		case *ast.ParenExpr:
			x = y.X
		default:
			return nil
		}
	}
}

func TestSource(t *testing.T) {
	for _, p := range house(t) {
		report(t, checkSource(p))
	}
}

// TestSourceRulesCanFail holds the checker against source that breaks each rule, and source that only looks like it.
func TestSourceRulesCanFail(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         string // part of the complaint; "" for none
	}{
		{"init", "func init() {}", "init()"},
		{"a method may be called init", "type t struct{}\nfunc (t) init() {}", ""},
		{"sleep", "import \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep"},
		{"long", strings.Repeat("// line\n", maxLines), "it is two things by now"},
		{"counter", "var n int", "has no value yet"},
		{"lock", "import \"sync\"\nvar mu sync.Mutex", "has no value yet"},
		{"registry", "var all = map[string]int{}", "holds what can change"},
		{"made", "var all = make([]int, 3)", "holds what can change"},
		{"pointer", "type t struct{}\nvar one = &t{}", "holds what can change"},
		{"clock", "import \"time\"\nvar began = time.Now()", "holds what can change"},
		{"assigned", "var level = 3\nfunc f() { level = 4 }", "is assigned"},
		{"element assigned", "var m = map[string]int{\"a\": 1}\nfunc f() { m[\"b\"] = 2 }", "is assigned"},
		{"counted", "var n = 3\nfunc f() { n++ }", "is assigned"},
		{"filled by range", "var n = 3\nfunc f() { for n = range 4 {} }", "is assigned"},
		{"lent", "var n = 3\nfunc f() *int { return &n }", "has its address taken"},
		{"deleted from", "var m = map[string]int{\"a\": 1}\nfunc f() { delete(m, \"a\") }", "is changed"},
		{"sentinel", "import \"errors\"\nvar ErrX = errors.New(\"x\")", ""},
		{"pattern", "import \"regexp\"\nvar re = regexp.MustCompile(`a`)", ""},
		{"table", "var m = map[string]int{\"a\": 1}\nfunc f() int { return m[\"a\"] }", ""},
		{"assertion", "import \"io\"\ntype t struct{}\nvar _ io.Reader = (*t)(nil)", ""},
		{"local of the same name", "var units = []int{1}\nfunc f() { units := []int{2}; units[0] = 3 }", ""},
		{"field of the same name", "type t struct{ n int }\nvar n = 1\nfunc f(x *t) { x.n = n }", ""},
		{"set by the linker", "var release string", ""},
		{"set by the linker and by others", "var release string\nfunc f() { release = \"1\" }", "is assigned"},
		{"imported type", "import \"embed\"\n//go:embed x.toml\nvar files embed.FS", ""},
	} {
		p := pkg{path: "x", doc: "Package x is tested.", fset: token.NewFileSet()}
		if err := p.add("x.go", "package x\n"+c.source+"\n"); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := checkSource(p)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: complaints %q, want %q", c.name, got, c.want)
		}
	}
	bare := pkg{path: "x", fset: token.NewFileSet()}
	if err := bare.add("x.go", "package x\n"); err != nil {
		t.Fatal(err)
	}
	if got := checkSource(bare); len(got) != 1 || !strings.Contains(got[0], "no package comment") {
		t.Errorf("without a package comment: %q", got)
	}
}

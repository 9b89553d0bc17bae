package imports

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "edgegateway"

// root is the module's folder, seen from this one.
var root = filepath.Join("..", "..")

// pkg is one package of the module.
type pkg struct {
	path  string // below the module: "adapters/field"
	doc   string // first sentence of the package comment
	fset  *token.FileSet
	files []file
}

type file struct {
	path   string // below the module
	test   bool
	lines  int
	syntax *ast.File
}

// imports are the file's import paths.
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// house reads every package of the module, also one that does not compile, with the files of every platform.
func house(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var listed struct{ ImportPath, Dir, Doc string }
		if err := d.Decode(&listed); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p := pkg{path: strings.TrimPrefix(listed.ImportPath, module+"/"), doc: listed.Doc, fset: token.NewFileSet()}
		names, err := filepath.Glob(filepath.Join(listed.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.add(filepath.Base(name), string(text)); err != nil {
				t.Fatal(err)
			}
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages: the rules would hold for nothing", len(packages))
	}
	return packages
}

// add parses one file of the package.
func (p *pkg) add(name, text string) error {
	path := p.path + "/" + name
	syntax, err := parser.ParseFile(p.fset, path, text, parser.SkipObjectResolution|parser.ParseComments)
	p.files = append(p.files, file{
		path:   path,
		test:   strings.HasSuffix(name, "_test.go"),
		lines:  strings.Count(text, "\n"),
		syntax: syntax,
	})
	return err
}

// report fails the test with each complaint.
func report(t *testing.T, complaints []string) {
	t.Helper()
	for _, c := range complaints {
		t.Error(c)
	}
}

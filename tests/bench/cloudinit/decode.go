// Decodes a cloud-config as coreos-cloudinit begins to: into a map, with `-` in keys become `_`, back into text, and
// into a struct. coreos-cloudinit itself is in no package of Debian; this is its language and its YAML library.
package main

import (
	"fmt"
	"os"
	"strings"

	"gopkg.in/yaml.v2"
)

type file struct {
	Path, Content, Owner, Permissions, Encoding string
}

type unit struct {
	Name, Content, Command string
	Mask, Enable, Runtime  bool
}

type config struct {
	Hostname          string
	SSHAuthorizedKeys []string `yaml:"ssh_authorized_keys"`
	Users             []map[string]interface{}
	WriteFiles        []file `yaml:"write_files"`
	CoreOS            struct{ Units []unit }
}

func underscores(value interface{}) interface{} {
	switch value := value.(type) {
	case map[interface{}]interface{}:
		out := map[interface{}]interface{}{}
		for key, inner := range value {
			out[strings.Replace(fmt.Sprint(key), "-", "_", -1)] = underscores(inner)
		}
		return out
	case []interface{}:
		for at, inner := range value {
			value[at] = underscores(inner)
		}
	}
	return value
}

func decode(bytes []byte) error {
	var tree map[interface{}]interface{}
	if err := yaml.Unmarshal(bytes, &tree); err != nil {
		return err
	}
	text, err := yaml.Marshal(underscores(tree))
	if err != nil {
		return err
	}
	var typed config
	return yaml.Unmarshal(text, &typed)
}

func main() {
	bytes, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = decode(bytes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

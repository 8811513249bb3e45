package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// workload is what makes pods.
type workload struct {
	object
	namespace string
	pod       corev1.PodTemplateSpec
}

// cluster is what is applied, as far as its parts refer to each other.
type cluster struct {
	objects   []object
	workloads []workload
	wrong     []string
}

func (c *cluster) bad(o object, format string, args ...any) {
	c.wrong = append(c.wrong, o.id()+": "+fmt.Sprintf(format, args...))
}

// convert makes a typed value of what stands in an object.
func convert[T any](value any) (typed T, err error) {
	content, err := yaml.Marshal(value)
	if err != nil {
		return typed, err
	}
	return typed, yaml.UnmarshalStrict(content, &typed)
}

// containers of a pod, sidecars first.
func containers(pod *corev1.PodSpec) []corev1.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}

func hasPort(all []corev1.Container, port string) bool {
	return slices.ContainsFunc(all, func(container corev1.Container) bool {
		return slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port || strconv.Itoa(int(p.ContainerPort)) == port
		})
	})
}

func (c *cluster) configMap(namespace, name string) object {
	for _, o := range c.objects {
		if o["kind"] == "ConfigMap" && o.at("metadata", "namespace") == namespace && o.at("metadata", "name") == name {
			return o
		}
	}
	return nil
}

// environment of a container, without what only a running pod has.
func (c *cluster) environment(w workload, container corev1.Container) map[string]string {
	env := map[string]string{}
	for _, from := range container.EnvFrom {
		data, _ := c.configMap(w.namespace, from.ConfigMapRef.Name).at("data").(map[string]any)
		for key, value := range data {
			env[key], _ = value.(string)
		}
	}
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	return env
}

// config is the collector's configuration that a container reads, or "".
func (c *cluster) config(w workload, container corev1.Container) string {
	for _, arg := range container.Args {
		file, is := strings.CutPrefix(arg, "--config=")
		if !is {
			continue
		}
		for _, v := range w.pod.Spec.Volumes {
			if v.ConfigMap == nil {
				continue
			}
			if text, is := c.configMap(w.namespace, v.ConfigMap.Name).at("data", path.Base(file)).(string); is {
				return text
			}
		}
	}
	return ""
}

func matches(selector *metav1.LabelSelector, has map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(has))
}

// pods are the workloads whose pods a selector finds.
func (c *cluster) pods(namespace string, selector *metav1.LabelSelector) (found []workload) {
	for _, w := range c.workloads {
		if w.namespace == namespace && matches(selector, w.pod.Labels) {
			found = append(found, w)
		}
	}
	return found
}

# blender --background: Python inside it, a mesh made, exported and saved
# needs: blender
# with:
# with: --lazy
# timeout: 300
# mask: .*hash.*|Blender [0-9.]+.*|Read prefs.*|.*ALSA.*|/run/user/\S*
# ignore: *.blend*
# slow
#== run
$RUN blender --background --factory-startup --python-expr 'import bpy, math, sys; print("PY", 6*7, sys.version_info[:2]); bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8); o = bpy.context.object; print("V", len(o.data.vertices), round(sum(v.co.length for v in o.data.vertices), 4)); bpy.ops.object.modifier_add(type="SUBSURF"); print("E", len(o.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices)); bpy.ops.wm.save_as_mainfile(filepath=__import__("os").path.abspath("x.blend"))'; echo "status $?"; [ -s x.blend ] && echo saved

"""Give it an ONNX classifier and the labels you need; get a smaller, measurably faster ONNX file back, with proof.

The whole line is `seam_onnx.pipeline.reengineer(Request(...))`; docs/how-it-works.md says what happens inside.
"""

"""Serve exported networks over HTTP: requests → raw columns → ONNX Runtime → predictions.

    connections   limits of connections, headers and time, below the application
    bodies        JSON, CSV, Arrow and images → columns of raw values
    columns       checks of raw values by the columns of the model → arrays
    onnx_model    an exported file, opened by ONNX Runtime
    responses     the body of a request → the body of its response
    immediate     small requests, which are answered as soon as they are received
    application   the routes of a worker
    supervisor    one process, or several that are restarted when they die

It imports neither TensorFlow nor Keras.
"""

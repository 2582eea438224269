"""Pretrained networks whose output for an image is the input of the hidden layers.

    torch_files, safetensors_files, hdf5_files    arrays by name, without executing pickles
    keras_config                                  the architecture in a file of Keras, checked
    architectures, lite_layout, applications      networks by name, and the shapes of their weights
    description                                   a base network as the plan of a run needs it
    contents                                      checks of its weights
    building                                      the Keras network with its weights

Only `building` and `efficientnet_lite` import Keras.
"""
